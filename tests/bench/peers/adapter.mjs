// The provider's storage interface on PostgreSQL: one table, prepared statements, expiry in the WHERE.

const SCHEMA = `
CREATE TABLE IF NOT EXISTS oidc_payload (
  model text NOT NULL, id text NOT NULL, payload jsonb NOT NULL, grant_id text, user_code text, uid text,
  expires_at timestamptz, consumed_at timestamptz, PRIMARY KEY (model, id));
CREATE INDEX IF NOT EXISTS oidc_payload_grant ON oidc_payload (grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS oidc_payload_uid ON oidc_payload (uid) WHERE uid IS NOT NULL;
CREATE INDEX IF NOT EXISTS oidc_payload_user_code ON oidc_payload (user_code) WHERE user_code IS NOT NULL;`;

export async function adapterFor(pool) {
  await pool.query(SCHEMA);

  const one = async (name, where, values) => {
    const text = `SELECT payload, consumed_at FROM oidc_payload WHERE ${where} AND (expires_at IS NULL OR expires_at > now())`;
    const { rows } = await pool.query({ name, text, values });
    if (rows.length === 0) return undefined;
    const { payload, consumed_at: consumed } = rows[0];
    return consumed ? { ...payload, consumed: Math.floor(consumed.getTime() / 1000) } : payload;
  };

  return class PostgresAdapter {
    constructor(model) {
      this.model = model;
    }

    async upsert(id, payload, expiresIn) {
      await pool.query({
        name: 'upsert',
        text: `INSERT INTO oidc_payload (model, id, payload, grant_id, user_code, uid, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at`,
        values: [this.model, id, payload, payload.grantId, payload.userCode, payload.uid,
          expiresIn ? new Date(Date.now() + expiresIn * 1000) : null],
      });
    }

    find(id) {
      return one('find', 'model = $1 AND id = $2', [this.model, id]);
    }

    findByUid(uid) {
      return one('findByUid', 'model = $1 AND uid = $2', [this.model, uid]);
    }

    findByUserCode(userCode) {
      return one('findByUserCode', 'model = $1 AND user_code = $2', [this.model, userCode]);
    }

    async consume(id) {
      await pool.query({
        name: 'consume',
        text: 'UPDATE oidc_payload SET consumed_at = now() WHERE model = $1 AND id = $2',
        values: [this.model, id],
      });
    }

    async destroy(id) {
      await pool.query({ name: 'destroy', text: 'DELETE FROM oidc_payload WHERE model = $1 AND id = $2', values: [this.model, id] });
    }

    async revokeByGrantId(grantId) {
      await pool.query({ name: 'revoke', text: 'DELETE FROM oidc_payload WHERE grant_id = $1', values: [grantId] });
    }
  };
}
