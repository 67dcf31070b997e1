// What a Node.js program sees of PostgreSQL: simple, prepared, pooled, notified.
const { Client, Pool } = require('pg');
const options = JSON.parse(process.argv[2]);

async function main() {
  const client = new Client(options);
  await client.connect();
  const say = (...words) => console.log(...words);
  say((await client.query("select 1 as one, 'zwei' as two")).rows);
  say((await client.query('select 1; select 2')).map((result) => result.rows));
  say(await client.query('select 1/0').catch((error) => `${error.code} ${error.message}`));
  await client.query('create temp table t (id int primary key, name text, doc jsonb, bytes bytea)');
  for (let id = 0; id < 50; id++) {
    await client.query({
      name: 'insert', text: 'insert into t values ($1, $2, $3, $4)',
      values: [id, `n${id}`, { id }, Buffer.from([id, 0, 255])],
    });
  }
  const all = await client.query({ text: 'select * from t order by id', rowMode: 'array' });
  say(all.rowCount, JSON.stringify(all.rows.at(-1)));
  // All at once on one connection: the driver queues them.
  const many = await Promise.all(Array.from({ length: 200 }, (_, n) => client.query('select $1::int * 2 as x', [n])));
  say(many.reduce((sum, result) => sum + result.rows[0].x, 0));
  const heard = new Promise((resolve) => client.once('notification', (message) => resolve(message.payload)));
  await client.query('listen channel');
  await client.query("select pg_notify('channel', 'words')");
  say(await heard);
  await client.query('begin');
  say(await client.query('select * from no_such_table').catch((error) => error.code));
  say(await client.query('select 1').catch((error) => error.code));
  await client.query('rollback');
  say((await client.query("select repeat('x', 5000000) as big")).rows[0].big.length);
  await client.end();
  const pool = new Pool({ ...options, max: 5 });
  const pooled = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('select $1::int as n', [n])));
  say(pooled.map((result) => result.rows[0].n).join(' '));
  await pool.end();
  say('done');
}

main().catch((error) => { console.error(error); process.exit(1); });
