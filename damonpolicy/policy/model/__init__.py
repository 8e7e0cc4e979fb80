"""Floor 3: the policy language; a file for each directory of DAMON's tree, or for several."""
