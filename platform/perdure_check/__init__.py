"""An independent checker: reads a namespace's topics, or its SQLite file, and says for each invariant whether it holds.

It shares no code with the product: nothing of perdure, perdure_platform or perdure_schemas is imported (tests/architecture sees to it);
of the last one only the `.avsc` files are read, as data. So an error in the product's decoder, live rule or fold is not repeated here.
"""
