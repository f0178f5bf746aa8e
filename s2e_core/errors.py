"""The errors a person can act on.

Every message says what was wrong, what was expected and what to do; the page and the command line show it unchanged.
Any other exception is a bug and keeps its traceback.
"""


class S2EError(Exception):
    """Base of all errors whose message is meant for the user."""


class UnsupportedModelError(S2EError):
    """A model whose heads or neurons cannot be located, or that fails the check at load."""


class ModelLoadError(S2EError):
    """A model folder or repository that is missing, incomplete or unreadable."""


class ContrastDataError(S2EError):
    """A contrast set that cannot be read or has too few examples."""


class BehaviorError(S2EError):
    """A behaviour folder that is missing or malformed."""


class SettingsError(S2EError):
    """Edit or generation settings outside the range in which the formulas are valid."""


class RecipeError(S2EError):
    """A saved edit that is malformed or belongs to another base model."""


class InteropError(S2EError):
    """Another program's file that is damaged, too large or for another model, or that contains more than numbers."""


class ExportError(S2EError):
    """A checkpoint or adapter that could not be written, or whose source could not be read."""


class SweepError(S2EError):
    """A saved sweep that is unreadable, or was made for another model or other questions."""


class Cancelled(S2EError):
    """The user pressed Stop; earlier results remain."""
