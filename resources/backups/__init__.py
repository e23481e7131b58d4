"""A whole home as one folder that can be carried away, taken while others work on it, and the way back."""

from resources.backups.backup import back_up
from resources.backups.manifest import Manifest
from resources.backups.restore import Restored, restored

__all__ = ["Manifest", "Restored", "back_up", "restored"]
