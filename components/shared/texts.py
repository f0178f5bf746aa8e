"""Every word on the page: labels, help and lessons. Knows no component and no value."""

TITLE = "Steer2Edit"
INTRO = (
    "See which parts of a language model carry a behaviour, change them with a slider, and take the edited model home. "
    "No training."
)
STEPS = (
    ("Look", "Violet works for the behaviour, ochre against it."),
    ("Change", "Move a slider or click a cell."),
    ("Compare", "Run a prompt before and after."),
    ("Take home", "Download the edited model."),
)

MODEL = "Model"
TEMPLATE = "Arguments of the chat template"
TEMPLATE_HELP = "JSON, as in {example}; it takes {names}. Enter applies it, to this page alone."
BEHAVIOR = "Behaviour"
OWN_EXAMPLES = "Your own examples …"
SWAP = "Swap the two sides"
EXTRACT = "Read examples"
UNTIL_EXTRACT = '<strong class="pending">{what}</strong> Until then the page shows {behavior} on {model}: '
PRESS_EXTRACT = "Press Read examples for this choice."
GIVE_EXAMPLES = "Give examples below, then press Read examples."
STOP = "Stop"
GETTING_READY = "Getting the model ready …"
DOWNLOADING = "Downloading the model: {:,.1f} of {:,.1f} MB"
NO_FILE = "No file was made. Your edit is still here."
OWN_POSITIVE = "The behaviour you want"
OWN_NEGATIVE = "Its opposite"
OWN_EXAMPLE = "How was your day? | It was wonderful, thank you!"
OWN_OPPOSITE = "How was your day? | It was dreadful, leave me alone."

LEGEND = (
    "**g**, from −1 to 1, is how far a component's mean output points along the behaviour (violet) or against it "
    "(ochre). **λ** is its edit: a positive λ amplifies a helper, a negative λ weakens an opponent, so both push "
    "towards the behaviour. For the opposite, swap the two sides. **When** is what a component's edit adds along the "
    "direction on the behaviour's texts (violet: more there) minus what it adds on harmless texts."
)

ALPHA = "α"
SUGGESTED = "Suggested for this behaviour"
SUGGESTED_FAMILY = "Suggested: {family} (KL {kl})"
SUGGESTED_HOW = (
    "the strongest edit of its family whose KL from the untouched model on harmless texts is at most {bound:g} nats a "
    "token and no more than that of steering with γ = {gamma:g}"
)
BY_HAND = "Changed by hand"


PROMPT = "Prompt"
RUN = "Run"
EXAMPLES = "Try"
LENGTH = "Length"
TEMPERATURE = "Temperature"
SEED = "Seed"
STEERED = "Steering too"
PROMPTED = "System prompt"
PLACEBO = "Placebo"
GAMMA = "γ"
FOLLOW = "Run on every change"
ROLLS = "Ask 8 times"
ASKED = "Answers to “{prompt}”, {dice}"
ROLLS_ASKED = "{count} answers a side to “{prompt}”, temperature {temperature:g}, seeds from {seed} on"
ROLLS_COUNT = "{wanted}: {count} of {total}"
ROLLS_GOOD = "answers well"
ROLLS_TOKENS = "{tokens:.0f} tokens on average"
ROLLS_UNJUDGED = "{count} different answers of {total}; nothing says how to judge them"
ORIGINAL_COLUMN = "Original"
EDITED_COLUMN = "Edited"
PROMPTED_COLUMN = "System prompt"
PLACEBO_COLUMN = "Placebo"
NO_SYSTEM_PROMPT = "This behaviour comes without a system prompt to compare with. Untick System prompt."
STEERED_COLUMN = "Steered"


TAKE_HOME = "Take it home"
TAKE_HOME_HELP = (
    "The checkpoint is an ordinary model folder, to load without this program. The adapter is the same edit as a LoRA "
    "for PEFT; that for llama.cpp and what is built on it is one GGUF file, whose strength is a dial there, on a base "
    "in any number format; that for MLX is what mlx-lm loads on a Mac. The recipe is the edit alone: a few vectors "
    "that this page and the command line read back. The control vector is not the edit: it is the steering direction, "
    "which llama.cpp adds while it runs (GGUF)."
)
CHECKPOINT = "Edited checkpoint"
ADAPTER = "LoRA adapter"
BOTH_EDITS = "both edits"
"""On a download that contains the edit on the page and the one that lies under it."""
GGUF_LORA = "GGUF LoRA"
MLX = "MLX adapter"
RECIPE = "Recipe"
DTYPE = "Numbers in the checkpoint"
DTYPE_CHOICES = (("as stored", "stored"), ("float32", "float32"))
CONTROL_VECTOR = "Control vector"
NOT_OF_THIS_EDIT = "It is the direction that was on the page before the edit you uploaded, which brings none."

COPY = "Copy as Python, as a command, cite"
AS_PYTHON = "Python"
AS_COMMAND = "Command"
CITE = "Cite the method"
CITATION = """@article{sun2026steer2edit,
  title   = {Steer2Edit: From Activation Steering to Component-Level Editing},
  author  = {Sun and Yan and Wang and Weng},
  journal = {arXiv preprint arXiv:2602.09870},
  year    = {2026}
}"""

TRADE_OFF = "Find a good edit"
TRADE_OFF_HELP = (
    "How much of the behaviour can you have, and what does it cost? This screens settings of all families by "
    "likelihood, asks the best of them and activation steering the same prompts, and measures the finalists and the "
    "edit on the page again in a run-off. It recommends the one with the most of the behaviour among those that keep "
    "the model useful, and checks it on prompts that took no part in choosing it."
)
FIND = "Find a good edit"
FLOOR = "Utility to keep, at least"
FLOOR_HELP = "% of the untouched model's"
BUDGET = "Edits to screen"
BUDGET_HELP = "0: as many as take some minutes; more find better ones"
GO_ON = "Continue"
LOAD_BEST = "Load the recommended edit into the page"
LOAD_OWN = "Load this edit"
PLOT = "Attribute over utility kept"
CSV_FILE = "Figures (CSV)"
SWEEP_FILE = "All answers (JSONL)"
REPORT_FILE = "Report (HTML)"
GRID = "Sweep a grid of settings"
GRID_HELP = (
    "Every combination of the values below is tried, with commas between them; “off” leaves a kind alone. "
    "The steering strengths are the baseline."
)
GRID_PRESET = "Preset"
OWN_GRID = "Typed below"
RHO_ATTN_VALUES = "ρ heads"
RHO_MLP_VALUES = "ρ neurons"
ALPHA_VALUES = "α"
STRENGTH_VALUES = "Strength"
GAMMA_VALUES = "Steering γ"
PROMPTS = "Prompts of each side"
SWEEP = "Sweep"
TAKE_APART = "Which components does this edit need?"
TAKE_APART_HELP = (
    "For the edit on the page. More and more of its components, strongest first: where does the curve flatten? And the "
    "whole edit without one of its strongest components: which ones does it live on?"
)
PROGRESSIVE = "More and more components"
LEAVE_ONE_OUT = "Leave one out"
NOTHING_EDITED = "Nothing is edited yet. Raise a count or lower ρ first."
IN_FULL = "Measure this edit in full"
IN_FULL_HELP = (
    "For the edit on the page, on held-out prompts: how much of the behaviour it brings, what it costs elsewhere, and "
    "what breaks. The untouched model and, if you like, activation steering answer the same prompts with the same dice."
)
MEASURE = "Measure in full"
WITH_STEERING = "Steering too, with the γ of the comparison"
MEASURE_STOPPED = "Stopped. Nothing of this run is kept; Measure in full starts anew."
EARLIER_EDIT = "Of an earlier edit: the dials have moved since. Measure in full again for the edit on the page."
LEAD_HOW = "Attribute of the edit minus that of steering, prompt by prompt."
WAITING = "Waiting for its turn: another measurement is running."
SWITCHED = "These points belong to another model or behaviour. Find a good edit for this one first."
OWN_NOT_MEASURED = (
    "Your own examples come without prompts to measure with, so this needs a behaviour folder with attribute.jsonl and "
    "utility.jsonl (assets/behaviors/README.md), which --behaviors FOLDER offers; Find a good edit works without one."
)
OWN_SEARCH = (
    "Your own examples have no prompts with a score, so Find a good edit compares edits by likelihood alone. It needs "
    "at least 10 examples a side; the utility to keep plays no part."
)
FILE_NOT_SEARCHED = (
    "These directions come from a file, and the search makes its own from your examples. Press Read examples to return "
    "to them."
)
NOT_MEASURED = (
    "This behaviour has no prompts to measure with, so nothing can be recommended here; "
    "its folder needs attribute.jsonl and utility.jsonl (see assets/behaviors/README.md)."
)
SWAPPED_NOT_MEASURED = (
    "The prompts of this behaviour measure “{positive}”, and its sides are swapped now, so nothing can be recommended; "
    "swap them back to measure."
)

TOOLTIPS = {
    "swap": "What was wanted becomes the opposite: heatmaps and edit turn round.",
    "check-examples": "What is odd about these examples, and how far they can be trusted.",
    "extract": "Reads the examples with the model and scores every head and neuron.",
    "above": "Back to the rule: whatever lies above the threshold is edited, nothing by hand.",
    "none": "Edits nothing; then click the components you want.",
    "heads-only": "Edits heads and no neurons.",
    "neurons-only": "Edits neurons and no heads.",
    "heads-count": "How many heads are edited, those with the largest |g| first.",
    "neurons-count": "How many neurons are edited, those with the largest |g| first.",
    "rho-attn": "The budget of the heads. A smaller ρ edits more of them, and each more strongly.",
    "rho-mlp": "The budget of the neurons. A smaller ρ edits more of them, and each more strongly.",
    "alpha": "How choosy the edit is: a higher α raises the threshold ρα, and fewer components are edited.",
    "family": "Which formula gives the edit: components that already write along the direction (elastic net), steering "
    "written into the weights (baked), or steering that acts on what the behaviour is about alone (gated). The first "
    "choice of a family starts from its suggested settings.",
    "preset": "Settings to start from. A suggestion of a family is "
    + SUGGESTED_HOW.format(bound=0.05, gamma=0.5)
    + "; the others were printed in the paper for its models.",
    "gate-gamma": "How much of the steering vector the edit adds where it acts.",
    "gate-mu": "How little the edit may add on harmless texts: a higher μ keeps them as they are.",
    "gate-size": "How many heads and neurons carry the gate, those that add most first.",
    "protect": "The edit is made silent on so many of the strongest input directions of harmless texts.",
    "strength": "Multiplies the whole edit: 0 is the original model, 1 the published formula.",
    "length": "The longest answer, in tokens: pieces of words.",
    "temperature": "0 always takes the likeliest token; 1 rolls dice by the model's own probabilities.",
    "seed": "The dice: the same number gives the same answers.",
    "steered": "A third answer, by activation steering: the method this is compared with. It adds γ times the "
    "direction while the model writes, and changes no weight.",
    "gamma": "Strength of the activation steering.",
    "prompted": "Another answer by the untouched model that is told in words what is wanted: free, and often strong.",
    "placebo": "Another answer by an edit of as many random components of the same size: what any edit would do.",
    "map-tools": "What a click on a picture does, zoom, and the picture as a file.",
    "forget": "What this browser has kept of your settings is deleted. No server has any of it.",
}
"""Id of a component -> what it is for, shown where the pointer rests on it."""

HOW = "How it works"
HOW_TEXT = r"""
**A steering vector as a diagnosis.** For every layer's attention output and MLP output, the model's mean output over
the responses of the wanted side minus that of the other side gives a direction $v$. Instead of adding $v$ while the
model runs, Steer2Edit asks how much each head and each neuron already writes along it:

$$g_i = \cos(v,\; W_i \bar x_i) \in [-1, 1]$$

where $W_i$ is the block of weights through which component $i$ writes and $\bar x_i$ its mean input.

**The edit in closed form.** Each component gets the rank-1 change that fires on the inputs by which it already writes
along $v$, in the direction $v$ alone:

$$\Delta W_i = \lambda_i\, u\, k_i^\top, \qquad u = v / |v|, \qquad k_i = W_i^\top v / |W_i^\top v|$$

and its size follows from an elastic-net budget:

$$\lambda_i = \frac{\operatorname{sign}(g_i)\,\max(|g_i| - \rho\alpha,\, 0)}{\rho\,(1-\alpha)}$$

So there are two plain dials: the **threshold** $\rho\alpha$ (which components are touched) and the **gain**
$1/(\rho(1-\alpha))$ (how strongly). *Strength* multiplies every $\lambda$. **γ** belongs to activation steering, the
method this is compared with: it adds $\gamma v$ to every projection's output at every token.

**Other families.** Any vector $a$ over a projection's inputs gives a rank-1 change $u\,a^\top$, which adds $a \cdot x$
along $u$. *Baked steering* takes $a = \gamma |v|\,c$ with $c \cdot x \approx 1$ at every token: steering as weights.
*Gated steering* fits $c$ so that $c \cdot x$ is near 1 on the behaviour's texts and near 0 on harmless ones, which
count $\mu$ times. Either can be added to the elastic net. The *suggested* settings of a family are its strongest edit
whose KL from the untouched model on harmless texts is at most 0.05 nats a token and no more than that of
steering with $\gamma = 0.5$.

**Reading the figures.** If directions were random, $g$ would spread by $1/\sqrt d$ around zero. But texts differ along
few directions, and along these $g$ is large by chance alone. So the examples are shuffled, after the mean of their side
was taken from each: the grey band is the $|g|$ that 95 of 100 such *directions of chance* stay below, for every
component its own. One component in twenty lies beyond its band by chance, and the line below the dials says how many
the threshold would select. $\lambda$ is absolute, so $|\Delta W|/|W|$ tells whether it is large for
*this* weight. The model on this server is never written to; your edit is a few vectors, and only the file you take
home contains changed weights.

Method: Sun, Yan, Wang, Weng, *Steer2Edit: From Activation Steering to Component-Level Editing*, arXiv 2602.09870.
"""

CHANCE_NO_EXAMPLES = (
    "The directions come from a file, without examples to shuffle: the grey band is that of random directions, and it "
    "is too kind."
)
CHANCE_WAITS = (
    "The grey band is that of random directions, and it is too kind. For that of chance this model reads all examples "
    "once more."
)
