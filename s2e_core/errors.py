"""The errors a person can act on. Every message says what was wrong, what was expected and what to do, so that the
page and the command line can show it as it is; anything that is not an S2EError is a bug and keeps its traceback."""


class S2EError(Exception):
    """Base of all errors whose message is meant for the person in front of the screen."""


class UnsupportedModelError(S2EError):
    """A model whose heads or neurons cannot be located, or that fails the check made at load."""


class ModelLoadError(S2EError):
    """A model folder or repository that is missing, incomplete or unreadable."""


class ContrastDataError(S2EError):
    """A contrast set that cannot be read or holds too little to average."""


class BehaviorError(S2EError):
    """A behaviour folder that is missing or malformed."""


class SettingsError(S2EError):
    """Edit or generation settings outside the range in which the formulas hold."""


class RecipeError(S2EError):
    """A saved edit that is malformed or belongs to another base model."""


class InteropError(S2EError):
    """A file of another program that is damaged, too large, of another model, or holds something else than numbers."""


class ExportError(S2EError):
    """A checkpoint or adapter that could not be written, or whose source could not be read."""


class SweepError(S2EError):
    """A saved sweep that is unreadable, of another model or of other questions."""


class Cancelled(S2EError):
    """The person pressed Stop; nothing that was computed before is lost."""
