"""What a person sees: tasks and errors as text and HTML, events as they were shown there."""
