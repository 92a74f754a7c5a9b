"""Small applications that the black-box tests serve, and how they are served."""
