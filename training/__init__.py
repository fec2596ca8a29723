"""How the demo weights were made: `python -m training.{backbone,image_text,teacher,vit}`."""
