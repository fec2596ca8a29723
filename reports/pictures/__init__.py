"""Pictures of test images with their maps and views."""
