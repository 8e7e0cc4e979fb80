"""Floor 3: the policy language; one file for each directory of DAMON's tree."""
