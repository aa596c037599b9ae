"""Reads whole files from remote file systems, such as S3 and SFTP, through fsspec."""
