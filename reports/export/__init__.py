"""A run for other tools, after the fact and without a network: MLflow, W&B, TensorBoard, JSON."""
