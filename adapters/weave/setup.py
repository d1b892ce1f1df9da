"""
The weave adapter as a package of its own, beside powerstrip, whose hook protocol it speaks.
"""

from setuptools import setup

setup(
    name="powerstrip-weave",
    version="0.1.0",
    description="An address per container, on a network that spans hosts",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=["powerstrip_weave", "powerstrip_weave.networks", "twisted.plugins"],
    package_data={"powerstrip_weave": ["py.typed", "programs/*"]},
    entry_points={"console_scripts": ["powerstrip-weave = powerstrip_weave.cli:main"]},
    install_requires=[
        "attrs>=23.2",
        "klein>=24.8",
        "powerstrip>=0.1",
        "pyroute2>=0.9",
        "treq>=24.9",
        "Twisted>=24.3",
        "zope.interface>=6.0",
    ],
)
