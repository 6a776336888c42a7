// Documents of yjs in the columns of a server: columns.mjs NIZHAL LIBRARY. Editors made of yjs push and pull over HTTP as
// existing clients do (whole states), and our device edits the same column; all must end up equal.
import { spawn, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { randomUUID, randomBytes } from 'node:crypto'
import * as Y from 'yjs'

const [nizhal, library] = process.argv.slice(2)
const seed = Number(process.env.NIZHAL_SEED ?? 20260102)
console.log(`interop columns: NIZHAL_SEED=${seed}`)
const folder = mkdtempSync(join(tmpdir(), 'nizhal-columns-'))
const environment = { ...process.env, NIZHAL_JWT_SECRET: randomBytes(32).toString('hex') }
const run = (...args) => execFileSync(nizhal, args, { env: environment, encoding: 'utf8' }).trim()
environment.NIZHAL_TOKEN = run('token', '--user', 'ana', '--owner', 'home')

// mulberry32, so that a run can be repeated.
let state = seed >>> 0
const random = (below) => {
  state = (state + 0x6d2b79f5) >>> 0
  let t = state
  t = Math.imul(t ^ (t >>> 15), t | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) % below
}

const check = (condition, what) => {
  if (!condition) throw new Error(`${what} (NIZHAL_SEED=${seed})`)
}

async function post(url, body) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${environment.NIZHAL_TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  })
  const answer = await response.json()
  check(response.status === 200, `${url} answered ${response.status}: ${JSON.stringify(answer)}`)
  return answer
}

// An editor in a browser: two yjs documents, one per column, and a cursor.
class Editor {
  constructor(url, id) {
    this.url = url
    this.columns = { body: new Y.Doc(), meta: new Y.Doc() }
    this.columns.body.clientID = 1000 + id
    this.columns.meta.clientID = 2000 + id
    this.columns.body.getText('body')
    this.columns.meta.getMap('meta')
    this.unsent = []
    for (const [column, doc] of Object.entries(this.columns))
      doc.on('update', (update, origin) => {
        if (origin !== 'pull') this.unsent.push([column, update])
      })
  }
  edit() {
    const text = this.columns.body.getText('body')
    const map = this.columns.meta.getMap('meta')
    switch (random(5)) {
      case 0:
      case 1:
        text.insert(random(text.length + 1), ['lorem ', 'ü', 'ipsum', '\n'][random(4)])
        break
      case 2:
        if (text.length > 3) text.delete(random(text.length - 2), 1 + random(2))
        break
      case 3:
        if (text.length > 3) text.format(random(text.length - 2), 2, { bold: random(2) ? true : null })
        break
      default:
        map.set(["colour", "seats", "due"][random(3)], random(2) ? random(100) : `v${random(100)}`)
    }
  }
  async push() {
    const mutations = this.unsent.splice(0).map(([column, update]) => ({
      name: column === 'body' ? 'editBody' : 'editMeta',
      args: { id: 'd1', update: Buffer.from(update).toString('base64') },
      clientMutationId: randomUUID(),
    }))
    if (mutations.length > 0) await post(`${this.url}/sync/push`, { mutations })
  }
  async pull() {
    for (;;) {
      const page = await post(`${this.url}/sync/pull`, { cursor: this.cursor })
      this.cursor = page.cursor
      for (const { table, rows } of page.changed) {
        if (table !== 'documents') continue
        for (const row of rows)
          for (const [column, doc] of Object.entries(this.columns)) {
            check(typeof row[column] === "string", `${column} came as ${JSON.stringify(row[column])}`)
            Y.applyUpdate(doc, Buffer.from(row[column], 'base64'), 'pull')
          }
      }
      if (!page.hasMore) return
    }
  }
}

const server = spawn(nizhal, ["serve", "--domain", library, "--db", `sqlite:${join(folder, "server.db")}`,
  '--listen', '127.0.0.1:0'], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] })
try {
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: server.stdout }).once('line', resolve)
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)))
  })
  const url = `http://${line.replace(/^.*\//, "")}`
  const device = (...args) =>
    run('client', '--domain', library, '--store', join(folder, 'device.db'), '--server', url, ...args)
  device("mutate", "createSpace", '{"space_id":"home"}')
  device("mutate", "createDocument", '{"id":"d1","space_id":"home","title":"t"}')
  device('sync')

  const query = (sql) => JSON.parse(device('--json', 'query', sql))[0].value
  const first = await post(`${url}/sync/pull`, {})
  const created = first.changed.find((one) => one.table === 'documents').rows[0]
  check(created.body === 'AAA=' && created.meta === 'AAA=', 'a new value is not the empty update')

  const editors = [1, 2, 3].map((id) => new Editor(url, id))
  const rounds = 40
  for (let round = 0; round < rounds; ++round) {
    for (const editor of editors) {
      for (let edits = random(4); edits > 0; --edits) editor.edit()
      if (random(2)) await editor.push()
      if (random(2)) await editor.pull()
    }
    if (round % 4 === 0) {
      device("edit", "documents", "d1", "body", "insert", "end", `device ${round} `, "--mutator", "editBody")
      device('edit', 'documents', 'd1', 'meta', 'set', 'device', String(round), '--mutator', 'editMeta')
      if (round % 8 === 0) device('sync')
    }
  }
  // Everybody sends everything; what applying cleans up is an edit too, so it takes until nobody has anything to send.
  device('sync')
  for (let pass = 0; ; ++pass) {
    check(pass < 10, 'the editors never come to rest')
    for (const editor of editors) {
      await editor.pull()
      await editor.push()
    }
    for (const editor of editors) await editor.pull()
    if (editors.every((editor) => editor.unsent.length === 0)) break
  }
  device('sync')

  const [one] = editors
  const text = one.columns.body.getText('body')
  for (const editor of editors) {
    const other = editor.columns.body.getText('body')
    check(other.toString() === text.toString(), 'two editors show different texts')
    check(JSON.stringify(other.toDelta()) === JSON.stringify(text.toDelta()), 'two editors show different formats')
    check(JSON.stringify(sorted(editor.columns.meta.getMap('meta').toJSON())) ===
      JSON.stringify(sorted(one.columns.meta.getMap('meta').toJSON())), 'two editors show different maps')
  }
  check(query("SELECT crdt_text(body, 'body') AS value FROM documents") === text.toString(),
    'the device shows another text than the editors')
  check(query("SELECT crdt_delta(body, 'body') AS value FROM documents") === JSON.stringify(text.toDelta()),
    'the device shows other formats than the editors')
  const map = JSON.parse(query("SELECT crdt_json(meta, 'meta') AS value FROM documents"))
  check(JSON.stringify(sorted(map)) === JSON.stringify(sorted(one.columns.meta.getMap('meta').toJSON())),
    'the device shows another map than the editors')
  console.log(`${rounds} rounds, 3 editors of yjs and a device: equal text (${text.length}), formats and map`)
} finally {
  server.kill('SIGTERM')
  await new Promise((resolve) => (server.exitCode === null ? server.once('exit', resolve) : resolve()))
  rmSync(folder, { recursive: true })
}

function sorted(object) {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
}
