"""Every word of the folds about why: card, parting, causes, what stands beside the edit, two checkpoints."""

CARD = "One component in full"
STRIP = "Where the texts part"
MAP = "Does it really matter? Attribution beside cause"
MAP_HELP = (
    "g says how far a component writes along the behaviour; whether the model needs it is another question. Here every "
    "head and the strongest neurons are zeroed, set to their mean, edited alone and left out of the edit, one at a "
    "time, and what that changes of the likelihood of wanted against unwanted answers is measured. Click a dot for its "
    "card."
)
MAP_RUN = "Measure causes"
MAP_WAITS = "Waiting for the model …"
MAP_RUNS = "{done:,} of {total:,} interventions"
MAP_DONE = "{count:,} components, {total:,} interventions, measured on {texts:,} answers in {time}."
STUDIES = "Reading the examples once more, one by one"
LOOKS = "Looking …"
READS = "Reading the original's answer …"
NO_ANSWER = "The original gave an empty answer to this prompt, so there is nothing to compare. Try another prompt."
ABOUT = "For {behavior}; effects are measured on a few of its examples, with the edit on the page."

YOUR_EXAMPLES = "your examples"
BESIDE = "Besides its behaviour: refusals, and another edit below"
BESIDE_HELP = (
    "An edit can change more than it was made for. Compare how far its directions are those of refusal, and ask the "
    "original and the edited model the same harmful requests. With an edit kept below this one (*Advanced*, “Keep this "
    "edit below another”, then another behaviour), you also see the components that both change, and where they pull "
    "against each other."
)
BESIDE_RUN = "Compare directions"
BESIDE_ASK = "Ask for refusals"
BESIDE_DRAWN = "What stands beside the edit"
BESIDE_RATES = "How often the models refuse"
BESIDE_READS = "Reading the examples of “{title}” …"
BESIDE_ASKS = "{done:,} of {total:,} answers"
BESIDE_BOTH = "{one} on top of {other}"
BESIDE_NO_SAFETY = (
    "No behaviour of this model is measured by refusals, so there are no requests to ask. Use a model that comes with "
    "one, or give --behaviors a folder with such prompts."
)

TWO = "Two checkpoints: what does the other one do differently?"
TWO_HELP = (
    "Open another checkpoint of the model on the page: a fine-tuned one, one that was edited, or a LoRA adapter of it. "
    "You see which heads and neurons differ and how much, whether few directions explain it, and the recipe of the "
    "behaviour on the page that is nearest, to load into the dials. Files are safetensors (of an adapter with its "
    "adapter_config.json beside it, or its scale is taken as 1) or a .zip of them, as this page sends it. A file "
    "comes before a model that is chosen."
)
TWO_MODEL = "Other model"
TWO_FILE = "or a LoRA, checkpoint or recipe"
TWO_RUN = "Open and compare"
TWO_DRAWN = "How the two checkpoints differ"
TWO_RUNS = "Comparing weight by weight …"
TWO_OWN_NAME = "difference from {name}"
TWO_NOTHING = "Choose another model or upload a file first."
TWO_TOO_LARGE = (
    "The files are larger than {most} MB together. Give a LoRA adapter, or start the program with --max-file."
)
TWO_FILES = (
    "Give one .safetensors or .zip file, and beside it at most the adapter_config.json of an adapter. Other formats "
    "can run code when they are read."
)
TWO_GONE = "The uploaded file is no longer here. Upload it again."
TWO_UPLOAD = "the upload"
TWO_NO_RECIPE = "There is no recipe to load. Open and compare a checkpoint first."
TWO_FORGOTTEN = "The page has other examples or another model by now. Press Open and compare again."
TWO_LOADED = "It is on the page now. Undo brings the earlier edit back."
