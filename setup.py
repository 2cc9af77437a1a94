"""What pyproject.toml cannot say: a plugin in the room of another package.

``twisted/plugins`` belongs to Twisted and has no ``__init__.py`` here, ever; Twisted looks
for plugins in every folder of that name on the path.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["coord", "coord.*"]), "twisted.plugins"],
    package_data={"coord": ["py.typed"], "coord.journal": ["schema/*.sql"]},
    zip_safe=False,
)
