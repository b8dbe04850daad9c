"""The views: each returns what one kind of page shows, by the names that its template prints.

A view gets the site and the links of its page. A page that prints one result as it is, such as
the verification, needs none.
"""
