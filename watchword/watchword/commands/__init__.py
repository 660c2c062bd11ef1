"""Commands about a running installation, a module each.

- remote.py: where it is and how to call it
- declare.py: `watchword apply`, `plan`, `drift`, `export`
- users.py, clients.py, providers.py: `watchword users`, `clients`, `providers`
- rules.py: `watchword rules`
- keys.py: `watchword keys`
- revoke.py: `watchword revoke`
- master_key.py: `watchword master-key`
- restore.py: `watchword restore`
- doctor.py: `watchword doctor`
- events.py: `watchword events`, with the secrets on disk in place of an API key
"""
