"""From an estimator to a video: solvers walk from noise to video, guidance changes what the estimator says."""
