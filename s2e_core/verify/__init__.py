"""Whether an export contains the edit: reloaded, compared with the base and with the preview."""

from .result import Verification
from .second_model import NotCheckedError, plan_second_model
from .verify import verify_export

__all__ = ["NotCheckedError", "Verification", "plan_second_model", "verify_export"]
