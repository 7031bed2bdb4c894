"""What a run will need before it starts: parameters, FLOPs, memory, time and cost."""
