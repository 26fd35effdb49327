"""PostgreSQL as a process of our own: found on this machine, its cluster made once.

It listens on the loopback interface only, and asks for a password that was made with the cluster
and stands in a file that only its owner reads; clients find it there by `PGPASSFILE`, so that it is
in no address, no command line and no environment.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from naics_assets.lib.supervisor import HOST, Service, as_user
from naics_model.errors import ConfigurationError

USER = 'naics'
"""The role that owns the databases."""

# Debian keeps the server's programs out of PATH, in a folder for each version.
_FOLDERS = Path('/usr/lib/postgresql')
_NEEDED = ('initdb', 'postgres', 'pg_isready')
# Whom PostgreSQL runs as where we are root, as which it refuses to run.
_SERVERS = ('postgres', 'nobody')


def find_programs(version: str | None) -> Path:
    """Return the folder of PostgreSQL's programs: that in PATH, or Debian's newest.

    Args:
        version: the major version that made the cluster; None for any.

    Raises:
        ConfigurationError: there is none, or none of that version.
    """
    on_path = shutil.which('initdb')
    debian = sorted(_FOLDERS.glob('*/bin'), key=lambda folder: float(folder.parent.name))
    found = []
    for folder in [*([Path(on_path).resolve().parent] if on_path else []), *reversed(debian)]:
        if all((folder / name).is_file() for name in _NEEDED):
            found.append(_version(folder))
            if version in (None, found[-1]):
                return folder
    if found:
        raise ConfigurationError(
            f'The databases were made by PostgreSQL {version}, and this machine has '
            f'{" and ".join(found)}: install {version}, or move them as docker/README.md says.'
        )
    raise ConfigurationError(
        'PostgreSQL was found neither in PATH nor in /usr/lib/postgresql: install it (on Debian: '
        'apt-get install postgresql), or run the stack with Docker (docker/README.md).'
    )


def _version(folder: Path) -> str:
    said = subprocess.run([folder / 'postgres', '--version'], capture_output=True, text=True)
    # "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    return said.stdout.split()[2].partition('.')[0]


def server_user() -> str | None:
    """Return the account that PostgreSQL is to run as; None for our own.

    Raises:
        ConfigurationError: we are root, and there is no other account for it.
    """
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name for account in pwd.getpwall()}
    for name in _SERVERS:
        if name in accounts:
            return name
    raise ConfigurationError(
        'PostgreSQL does not run as root, and this machine has no account "postgres" or "nobody": '
        'start the stack as another user.'
    )


class Cluster:
    """A cluster in a folder, with one role and the databases of a script.

    Attributes:
        folder: where its files are.
        passwords: the file of passwords for clients (`PGPASSFILE`).
        user: whom its server runs as; None for us.
    """

    def __init__(self, folder: Path, passwords: Path, port: int) -> None:
        """Name a cluster; nothing is made yet.

        Raises:
            ConfigurationError: there is no PostgreSQL on this machine, or nobody to run it.
        """
        self.folder, self.passwords, self.user = folder, passwords, server_user()
        made_by = folder / 'PG_VERSION'
        self._programs = find_programs(made_by.read_text().strip() if made_by.exists() else None)
        self._port = port

    def url(self, database: str) -> str:
        """Return the address of a database, without the password."""
        return f'postgresql+psycopg2://{USER}@{HOST}:{self._port}/{database}'

    def service(self, log: Path) -> Service:
        """Return its server, in the foreground."""
        listening = (f'listen_addresses={HOST}', f'port={self._port}', 'unix_socket_directories=')
        settings = [text for setting in listening for text in ('-c', setting)]
        address = ('--host', HOST, '--port', str(self._port))
        return Service(
            'postgres',
            (str(self._programs / 'postgres'), '-D', str(self.folder), *settings),
            (str(self._programs / 'pg_isready'), *address, '--quiet'),
            log=log,
            user=self.user,
            folder=self.folder,
            # Its "fast" shutdown: clients are cut off, nothing is lost. It would wait for them on
            # SIGTERM.
            stop_signal=signal.SIGINT,
        )

    def create(self, script: Path) -> None:
        """Make the cluster and its databases, if it is not there; whole or not at all.

        Args:
            script: SQL that makes the databases, a statement a line.

        Raises:
            ConfigurationError: PostgreSQL did not make it; its own words are in the text.
        """
        if self.folder.is_dir():
            return
        # What a creation that was cut off has left.
        new, secret = self.folder.with_name('.postgres.new'), self.folder.with_name('.password')
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(0o700, parents=True)
        self._hand_over(new)
        password = secrets.token_urlsafe(32)
        try:
            _write_secret(secret, password)
            self._hand_over(secret)
            self._run(
                'initdb', '--pgdata', str(new), '--username', USER, '--pwfile', str(secret),
                '--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C.UTF-8',
            )  # fmt: skip
            self._run('postgres', '--single', '-D', str(new), 'postgres', said=script.read_bytes())
        finally:
            secret.unlink(missing_ok=True)
        _write_secret(self.passwords, f'{HOST}:*:*:{USER}:{password}\n')
        new.rename(self.folder)

    def _hand_over(self, path: Path) -> None:
        """Give a file or folder to the server's account.

        Raises:
            ConfigurationError: the account cannot get there.
        """
        if self.user is None:
            return
        shutil.chown(path, self.user)
        if subprocess.run(['test', '-r', path], cwd='/', **as_user(self.user)).returncode:
            raise ConfigurationError(
                f'The account "{self.user}", which PostgreSQL runs as, may not enter the folders '
                f'above {path}: choose another data folder (NAICS_DATA_DIR), or start the stack '
                'as another user than root.'
            )

    def _run(self, program: str, *arguments: str, said: bytes | None = None) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            input=said,
            capture_output=True,
            # A folder that the account may be in.
            cwd='/',
            **as_user(self.user),
        )
        if done.returncode:
            reason = done.stderr.decode(errors='replace').strip()
            raise ConfigurationError(f'PostgreSQL made no databases ({program}): {reason}')


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(text)
