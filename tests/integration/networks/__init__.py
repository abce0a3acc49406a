"""What every network provider must do (`suite`), and the machines, pods and captures it is tried with."""
