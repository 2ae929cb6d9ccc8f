"""Choice: which variant to use is a parameter, and below it are the parameters of each.

**Source**: combined algorithm selection and hyperparameter optimization (CASH): Thornton, Hutter,
Hoos, Leyton-Brown, "Auto-WEKA", KDD 2013, https://arxiv.org/abs/1208.3719.
**Differs** in what is below the root: the recipe is the same for all variants, so it stands there
once, and a good learning rate is kept when the variant changes.
"""

from target_algorithms import Role

ROLE = Role.SELECTION

DEFAULT = "rigl"
"""Where the combination begins, too: what the two end with differs by how they go on."""
