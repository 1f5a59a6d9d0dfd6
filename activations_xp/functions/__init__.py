"""The functions, by family; they import no array library and know no backend."""

from .adaptive import *  # noqa: F403
from .attention import *  # noqa: F403
from .encodings import *  # noqa: F403
from .error_functions import *  # noqa: F403
from .exponentials import *  # noqa: F403
from .gates import *  # noqa: F403
from .learned_rectifiers import *  # noqa: F403
from .mishes import *  # noqa: F403
from .normalizers import *  # noqa: F403
from .rectifiers import *  # noqa: F403
from .reductions import *  # noqa: F403
from .selfgates import *  # noqa: F403
from .shrinkers import *  # noqa: F403
from .sigmoids import *  # noqa: F403
from .simplex import *  # noqa: F403
from .softpluses import *  # noqa: F403
from .stochastic import *  # noqa: F403
from .waves import *  # noqa: F403
