// What the interop scripts share: the C++ side as a child process, seeded randomness, comparisons that end the run, and
// Yjs's content in the form of ours. Scripts are called `node SCRIPT PEER [OPERATIONS]`; NIZHAL_SEED repeats a run.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { basename } from 'node:path'
import * as Y from 'yjs'

const [script, program, operationsText] = process.argv.slice(1)
const name = basename(script, '.mjs')
export const operationsOr = count => Number(operationsText ?? count)
export const seed = Number(process.env.NIZHAL_SEED === 'random' ? process.hrtime.bigint() % 1000000007n : process.env.NIZHAL_SEED ?? 20260102) >>> 0
console.log(`${name}: NIZHAL_SEED=${seed}`)

export const print = console.log.bind(console)
for (const level of ['log', 'warn', 'error']) console[level] = () => {} // what Yjs says about hostile bytes
export const fail = (what, a, b) => {
  print(`FAILED: ${what}\n repeat with NIZHAL_SEED=${seed}`)
  if (a !== undefined) print(` yjs:  ${a}\n ours: ${b}`)
  process.exit(1)
}
export const same = (what, yjs, mine) => { if (yjs !== mine) fail(what, yjs, mine) }

const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] })
const waiting = []
createInterface({ input: child.stdout }).on('line', line => waiting.shift()(JSON.parse(line)))
child.on('exit', code => { if (code !== 0) fail(`the C++ side ended with ${code}`) })
export const ours = command => new Promise(resolve => {
  waiting.push(resolve)
  child.stdin.write(JSON.stringify(command) + '\n')
})
export const finish = what => {
  print(`${name}: ${what}`)
  child.stdin.end()
  process.exit(0)
}

export const hex = bytes => Buffer.from(bytes).toString('hex')
export const bytes = text => new Uint8Array(Buffer.from(text, 'hex'))

// mulberry32
const generator = start => {
  let state = start
  return below => {
    state = (state + 0x6D2B79F5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
export const random = generator(seed)
export const pick = list => list[random(list.length)]

// A type's content as plain values, in the form of our to_json.
export const plain = value => {
  if (value instanceof Y.Text) return Y.Text.prototype.toString.call(value) // XML text would add tags
  if (value instanceof Y.Array) return value.toArray().map(plain)
  if (value instanceof Y.XmlHook) return mapOf(value)
  if (value instanceof Y.XmlFragment) {
    return { name: value instanceof Y.XmlElement ? value.nodeName : '', attributes: mapOf(value), children: value.toArray().map(plain) }
  }
  if (value instanceof Y.Map) return mapOf(value)
  if (value instanceof Y.Doc) return {}
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  return value
}
const mapOf = type => {
  const object = {}
  type._map.forEach((item, key) => {
    if (!item.deleted) object[key] = plain(item.content.getContent()[item.length - 1])
  })
  return object
}
const sorted = value => {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.keys(value).sort().map(key => [key, sorted(value[key])]))
}
export const canonical = value => JSON.stringify(sorted(value))
const deltaOf = delta => canonical(delta.map(op => 'insert' in op ? { ...op, insert: plain(op.insert) } : op))

export const viewOfYjs = doc => ({
  sv: hex(Y.encodeStateVector(doc)),
  string: doc.getText('text').toString(),
  delta: deltaOf(doc.getText('text').toDelta()),
  map: canonical(plain(doc.getMap('map'))),
  list: canonical(plain(doc.getArray('list'))),
  xml: canonical(plain(doc.getXmlFragment('xml')))
})
export const viewOfOurs = async id => {
  const state = await ours({ c: 'state', doc: id })
  for (const part of ['delta', 'map', 'list', 'xml']) state[part] = canonical(JSON.parse(state[part]))
  return state
}
export const sameViews = (what, yjs, mine) => { for (const part of Object.keys(yjs)) same(`${what}: ${part}`, yjs[part], mine[part]) }

// What an observer was told, in one form for both.
export const eventOfYjs = event => {
  if (event.target instanceof Y.Text) return { delta: deltaOf(event.delta) }
  const keys = {}
  event.keys.forEach((change, key) => {
    const before = change.oldValue
    const isValue = before !== undefined && !(before instanceof Y.AbstractType) && !(before instanceof Y.Doc)
    keys[key] = [change.action, isValue ? plain(before) : null]
  })
  return { keys: canonical(keys) }
}
export const eventOfOurs = event => event.delta ? { delta: canonical(JSON.parse(event.delta)) } : { keys: canonical(event.keys) }

export let documents = 0
export const newYjs = client => {
  const doc = new Y.Doc()
  doc.clientID = client
  doc.getText('text'); doc.getMap('map'); doc.getArray('list'); doc.getXmlFragment('xml')
  return doc
}
export const newOurs = async client => {
  const id = ++documents
  await ours({ c: 'new', doc: id, client })
  return id
}

// An edit that both sides make alike. Yjs remembers places in a text and may then insert elsewhere among deleted items
// than we do, which changes nothing that is seen, but bytes: so it is made to forget them.
export const editYjs = (doc, op) => {
  const text = doc.getText('text')
  const map = doc.getMap('map')
  text._searchMarker = null
  switch (op.c) {
    case 'insert': text.insert(op.at, op.text, op.attributes); break
    case 'embed': text.insertEmbed(op.at, op.value, op.attributes); break
    case 'delete': text.delete(op.at, op.length); break
    case 'format': text.format(op.at, op.length, op.attributes); break
    case 'set': map.set(op.key, op.value); break
    case 'unset': map.delete(op.key); break
    case 'set_text': { const nested = new Y.Text(); map.set(op.key, nested); nested._searchMarker = null; nested.insert(0, 'nested'); break }
    case 'set_map': { const nested = new Y.Map(); map.set(op.key, nested); nested.set('inner', 1); break }
    case 'nested': {
      const nested = map.get(op.key)
      if (nested instanceof Y.Text) { nested._searchMarker = null; nested.insert(nested.length >> 1, '+', { n: 1 }) } else if (nested instanceof Y.Map) nested.set('more', 'value')
      break
    }
  }
}
// Edits for one transaction, for a text of that length.
export const someEdits = length => {
  const ops = []
  for (let count = random(4) === 0 ? 1 + random(4) : 1; count > 0; --count) {
    const at = random(length + 1)
    const kind = random(100)
    if (kind < 35 || (kind < 65 && length === at)) {
      const text = pick(['a', 'b', ' ', 'word ', 'é', '日本', 'x\ny'])
      ops.push({ c: 'insert', at, text, ...(random(4) === 0 ? { attributes: attributes() } : {}) })
      length += text.length
    } else if (kind < 38) {
      ops.push({ c: 'embed', at, value: pick([{ image: 'i.png' }, { n: [1, { deep: null }] }]), attributes: pick([{}, { bold: true }]) })
      ++length
    } else if (kind < 55) {
      const removed = Math.min(1 + random(6), length - at)
      ops.push({ c: 'delete', at, length: removed })
      length -= removed
    } else if (kind < 65) {
      ops.push({ c: 'format', at, length: Math.min(1 + random(9), length - at), attributes: attributes() })
    } else if (kind < 80) {
      ops.push({ c: 'set', key: pick(['a', 'b', 'n1']), value: pick(values) })
    } else if (kind < 86) {
      ops.push({ c: 'unset', key: pick(['a', 'b', 'n1', 'n2']) })
    } else if (kind < 92) {
      ops.push({ c: pick(['set_text', 'set_map']), key: pick(['n1', 'n2']) })
    } else {
      ops.push({ c: 'nested', key: pick(['n1', 'n2']) })
    }
  }
  return ops
}

// What edits are made of.
export const attributes = () => pick([{ bold: true }, { bold: null }, { italic: true }, { color: 'red' }, { color: 'blue' }, { link: { href: 'x', n: 1 } }, { bold: true, color: null }])
export const values = [1, -3, 2.5, 'text', true, null, [1, [2]], { k: 'v' }, 4294967296, 'é😀']
