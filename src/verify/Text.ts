/** What "quick" runs through every part: some 30 tokens; a token gets numbers, punctuation, code and prose behind it. CC0-1.0. */
export const quickText =
  "Once upon a time, in a small village at the edge of a forest, there lived 12 cats. for (i = 0; i < 3; i++)"

/** What "full" adds: a few hundred tokens, for the distribution at the end of the model. CC0-1.0, written for this project. */
export const fullText =
  "The harbour wakes before the town does. At four the ice plant starts to hum, and by half past the first boats come around " +
  "the breakwater with their lights still on. Prices are written in chalk on a board: cod 6.40, mackerel 3.15, squid 9.80. " +
  "Whoever buys must carry, so the street fills with handcarts, and the wheels of every one of them complain about the stones. " +
  "My grandfather kept the records of the auction for thirty-one years. He used to say that a ledger is a kind of weather " +
  "report: if you know how to read it, you can tell a hard winter from a full page of small numbers. In 1978 he counted 214 " +
  "boats. Last spring there were nineteen. What is left is mostly paperwork, and a museum with a model of the old crane. " +
  "def total(catch): return sum(weight * price for weight, price in catch). That is the whole of the program that replaced him. "
