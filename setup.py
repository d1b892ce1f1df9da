"""
The package: what is installed, and what it needs.

``twisted.plugins`` is listed as a package without an ``__init__.py``, so that
``twistd`` finds the command (Twisted's plugin system extends that package's path).
"""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent

setup(
    name="powerstrip",
    version="0.1.0",
    description="Extend Docker at its API: a streaming proxy with blocking, chaining hooks",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        "powerstrip",
        "powerstrip.adapter",
        "powerstrip.core",
        "powerstrip.net",
        "twisted.plugins",
    ],
    package_data={"powerstrip": ["py.typed"]},
    install_requires=[
        "attrs>=23.2",
        "hyperlink>=21.0",
        "PyYAML>=6.0",
        "Twisted[tls]>=24.3",
        "treq>=24.9",
        "zope.interface>=6.0",
    ],
    extras_require={
        "adapters": ["klein>=24.8"],
        "dev": [
            "docker>=7.1",
            "h11>=0.16",
            "hypothesis>=6.100",
            "klein>=24.8",
            "mypy>=1.11",
            "mypy-zope>=1.0.5",
            "pytest>=8.2",
            "pytest-cov>=5.0",
            "pytest-randomly>=3.15",
            "pytest-twisted>=1.14.3",
            "ruff>=0.6",
            "types-PyYAML",
            "types-docker",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Internet :: Proxy Servers",
    ],
)
