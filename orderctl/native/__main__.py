"""`python -m orderctl.native` installs the packages of native mode where it can; `make test` begins so.

Where it cannot be done that is no failure: the tests that need them are counted, with the reason, by pytest.
"""

from orderctl.checklist import Checklist
from orderctl.errors import OrderctlError
from orderctl.native import packages
from orderctl.native.layout import Layout, default_data_dir
from orderctl.terminal import err, out, show_error


def main() -> None:
    """Install what is missing, or say why not."""
    layout = Layout(default_data_dir())
    with Checklist(out).shown() as progress:
        try:
            packages.ensure(progress, layout.log("packages"))
            packages.ensure_nginx(progress, layout.log("packages"))  # for the tests of the edge
        except OrderctlError as error:
            show_error(error)
            err.print("the tests go on without what is missing of RabbitMQ, Redis, PostgreSQL, nginx")


if __name__ == "__main__":
    main()
