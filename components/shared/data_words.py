"""Every word of the folds about a visitor's own examples and about how far examples can be trusted."""

OWN_HELP = (
    "One example a line: the prompt, a tab or ` | `, and the response as the model would write it. Thirty or more a "
    "side work well. Or upload a file; what was understood is shown below, before anything runs."
)
OWN_FILE = "JSONL, JSON, CSV, TSV, TXT or Parquet file"
OWN_SECOND = "Second file, where the opposite has its own"

DATA_SET = "Or a data set of the Hub"
DATA_SET_EXAMPLE = "owner/name@revision"
DATA_SET_HELP = "also owner/name/file, or its address; without a file that of the training split"
FETCH = "Fetch"
FETCHING = "Downloading the data set: {:,.1f} of {:,.1f} MB"
WAITING_FOR_HUB = "Asking the Hub …"
NOT_FETCHED = "No data set was read; the page is as it was. What was downloaded is kept for the next try."
NO_HUB = (
    "Data sets of the Hub are switched off here. Upload a file, or start the program on your own machine with "
    "--allow-hub."
)
NO_DATA_SET = "Name a data set first, as in owner/name."

EXTRACT_THESE = "Read these examples"

CORRECT = "Correct how it was read"
CORRECT_HELP = "Names as in the file. What you leave as found is found again after every change."
ROLES = {
    "prompt": "Prompt",
    "response": "Response",
    "label": "Label of the side",
    "positive": "Wanted responses",
    "negative": "Opposite responses",
    "system": "System prompt",
    "messages": "Whole chats",
    "context": "More of the prompt",
    "choices": "Choices with labels",
}
"""Role of a column -> what the dropdown is called."""
POSITIVE_LABELS = "Wanted labels"
NEGATIVE_LABELS = "Opposite labels"
LABELS_HELP = "one side is enough"
MOST = "Most examples a side"
MOST_HELP = "the first so many"
ABOVE = "Wanted above this score"
ABOVE_HELP = "if the label is a number"
TAKE_OFF_MARKS = "Take the marks of a chat template off"
LEAVE_OUT_LONG = "Leave out examples longer than the model reads"
LEFT_OUT = "Left out, because they are longer than the model reads or have no response: {:,}."
COLUMN = "“{}”"
FOUND, NOT_FOUND, FIND_IT = "“{}”, as found", "none found", "find it again"

LAYOUTS = {
    "pairs": "every row has both sides",
    "choices": "every row has true choices and false ones",
    "two lists": "two lists, one for each side",
    "two files": "two files, one for each side",
    "labelled": "the label says which side a row is on",
    "one side": "nothing says yet which side a row is on",
}
TYPED = "typed lines"
TYPED_IGNORED = "The file is read; the lines typed above are not."
NO_ROWS = "There is no example in {}. Choose another file."
SECOND_ALONE = "The second file needs a first one. Put the file of the behaviour you want into the first field."
PROMPTS_ONLY = (
    "These are prompts without responses. Let the model answer them below, or give a response with every prompt."
)
ONE_SIDED = (
    "Nothing says which side a row is on. Upload the other side as a second file, name the column that tells, "
    "or let the model answer the prompts below."
)
WANTED_SIDE, OPPOSITE_SIDE, NO_SIDE = "The behaviour you want", "Its opposite", "On no side yet"
CUT_SIDE = "The first {:,} of each side are taken, of {}."
ONE_TOO_LONG = "1 example was longer than {:,} characters and left out."
TOO_LONG = "{:,} examples were longer than {:,} characters and left out."
USES_ANSWERS = "Read examples takes the model's own answers, on the sides chosen below."

ANSWERS = "Let the model answer the prompts itself"
ANSWERS_HELP = (
    "The paper contrasts the model's own responses. The model answers every prompt; then a rule, or you, put each "
    "answer on a side; one on neither side is left out. Stop keeps what is there, and Continue goes on."
)
ANSWER_LENGTH = "Longest answer"
SAMPLES = "Answers to each prompt"
TEMPERATURE = "Temperature"
GENERATE = "Generate answers"
GO_ON = "Continue"
STOP = "Stop"
WAITING = "Waiting for its turn …"
RULE = "Which side is an answer on?"
RULES = {
    "prompt": "The side of its prompt",
    "agreement": "Right or wrong, by the file's own answers",
    "length": "The shortest or the longest",
    "hand": "By hand, with the boxes",
}
SHARE = "Share of each side"
SHARE_HELP = "% of the answers"
USE_ANSWERS = "Read these answers"
ANSWER_TABLE = "The model's answers and their sides"
ANSWERING = "{:,} of {:,} answers."
STOPPED_ANSWERS = "Stopped with {:,} of {:,} answers; they stay. Continue goes on."
DONE_ANSWERS = "All {:,} answers are there."
OTHER_PROMPTS = "These answers are to other prompts, or another model's. Generate answers again for these."
SHOWN_ANSWERS = "{:,} of {:,} answers are shown, evenly picked; the rule counts all."
TOO_MANY = "{:,} answers are asked for; at most {:,} are made here. Take fewer prompts or fewer answers to each."
LONG_PROMPT = "A prompt has {:,} characters; at most {:,} are read. Shorten or remove it."

CHECK = "Check examples"
CHECK_TITLE = "Can these examples be trusted?"
SEVERITIES = {"problem": "Problem", "warning": "Warning", "note": "Note"}
SPAN = "How the model reads an example of each side"
SPAN_HELP = "The activations at the boxed, underlined tokens are averaged: those that predict the response."
SPAN_CUT = "… {:,} earlier tokens"
MEASURE = "Measure how far they can be trusted"
FROM_A_FILE = "The direction on the page comes from a file, without examples that could be checked."
NOT_EXTRACTED = "Press Read examples first: then it can be measured how far these examples tell the sides apart."
MEASURING = "Measuring: {:,} of {:,} examples."
MEASURE_STOPPED = "Stopped. Measure again when you like."
NOT_LOADED = "Lengths are counted in words until the model is loaded; its tokens are shown then."
TRUSTED = (
    "These examples hold: in the layers that tell the sides apart best, {accuracy} of held-out examples fall on their "
    "own side, and others like these would give nearly the same direction (alike to {cosine})."
)
FAIR = (
    "Usable, but not strong: in the layers that tell the sides apart best, {accuracy} of held-out examples fall on "
    "their own side (guessing: 50 %), and others like these would give a direction alike to {cosine}. Add examples."
)
TRUST_PLOTS = "Layer by layer"
SHOWN_EXAMPLES = "The first examples of each side"
ACCURACY_PLOT = "Separability: held-out examples on their own side"
STABILITY_PLOT = "Stability: direction of resampled examples"
TRUST_TABLE = "The same as a table"
TRUST_HOW = (
    "Separability: the direction is computed without a fifth of the examples, which must then fall on the right side "
    "of it. Stability: the examples are drawn again with replacement {resamples} times; how alike are the directions "
    "(1 is the same), and how much does g of a component vary?"
)
