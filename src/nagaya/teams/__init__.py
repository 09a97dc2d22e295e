"""Teams: named groups of an organization's members that hold roles and shares together."""
