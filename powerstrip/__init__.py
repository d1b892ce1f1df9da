"""
Powerstrip: a proxy in front of the Docker Engine that calls adapters around requests.

``powerstrip.core`` decides, ``powerstrip.net`` moves the bytes, ``powerstrip.service`` is what
``twistd`` starts.
"""
