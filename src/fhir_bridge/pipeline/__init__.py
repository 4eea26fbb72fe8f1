"""
What happens to a record, one room a stage: pull, receive, normalize, assemble, opinion, deliver.

Room: pipeline. Floor: beside clients, store and security; imports standards and below. The stages
never import each other: what one hands over is committed before the next begins.
"""
