"""
The flocker adapter as a package of its own, beside powerstrip, whose hook protocol it speaks.
"""

from setuptools import setup

setup(
    name="powerstrip-flocker",
    version="0.1.0",
    description="Volumes that follow their container from host to host",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        "powerstrip_flocker",
        "powerstrip_flocker.control_service",
        "powerstrip_flocker.datasets",
        "powerstrip_flocker.ledger",
        "powerstrip_flocker.peers",
        "powerstrip_flocker.storage",
        "twisted.plugins",
    ],
    package_data={"powerstrip_flocker": ["py.typed"]},
    entry_points={"console_scripts": ["powerstrip-flocker = powerstrip_flocker.cli:main"]},
    install_requires=[
        "attrs>=23.2",
        "cryptography>=42.0",
        "klein>=24.8",
        "powerstrip>=0.1",
        "treq>=24.9",
        "Twisted[tls]>=24.3",
        "zope.interface>=6.0",
    ],
)
