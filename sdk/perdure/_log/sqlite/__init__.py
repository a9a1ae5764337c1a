"""The Log in one SQLite file, which several processes of one machine may share."""

from perdure._log.sqlite.log import SqliteLog as SqliteLog
