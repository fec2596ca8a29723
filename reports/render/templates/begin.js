readAddress();
prepare();
draw();
if (location.hash) unfold();
