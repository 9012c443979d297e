"""What is stored of a model: learned numbers, published weights, thresholds."""
