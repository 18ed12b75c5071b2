"""Where the entries of a memory lie: the tables, and each kind of database that can hold them."""
