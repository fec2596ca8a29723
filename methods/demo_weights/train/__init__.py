"""How the demo weights were made: `python -m methods.demo_weights.train.{backbone,image_text,teacher}`."""
