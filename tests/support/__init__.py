"""What test modules share: builders of values, machines and programs to try, and how to wait. Holds no test."""
