// Random concurrent editing histories of five peers, some in Yjs and some in src/crdt, with partitions, held against each
// other. `node interop.mjs PEER [OPERATIONS]`; NIZHAL_SEED repeats a run.
//
// What must be equal:
//  - at the end, when everybody has everything: strings, deltas, maps, lists, XML and state vectors of all documents;
//  - at every moment: the bytes of two documents, one in each, that got the same updates in the same order. Each peer
//    has such a pair of mirrors, which get what the peer makes and what it is sent;
//  - what is computed without a document: merged updates, differences, state vectors.
import * as Y from 'yjs'
import {
  attributes, bytes, documents, fail, finish, hex, newOurs, newYjs, operationsOr, ours, pick, random, same, sameViews, values,
  viewOfOurs, viewOfYjs
} from './harness.mjs'

const cutsPair = (text, at) => {
  const units = text.toDelta().map(op => typeof op.insert === 'string' ? op.insert : '.').join('')
  const code = units.charCodeAt(at - 1)
  return at > 0 && at < units.length && code >= 0xD800 && code < 0xDC00
}

class YjsPeer {
  constructor (client) {
    this.doc = newYjs(client)
    this.made = []
    this.doc.on('update', update => this.made.push(hex(update)))
    this.undo = new Y.UndoManager([this.doc.getText('text'), this.doc.getMap('map')], { captureTimeout: 0 })
  }

  take () { return this.made.splice(0) }
  async apply (update) { Y.applyUpdate(this.doc, bytes(update), 'remote'); return this.take() }
  async view () { return { ...viewOfYjs(this.doc), update: hex(Y.encodeStateAsUpdate(this.doc)) } }
  async length () { return this.doc.getText('text').length }
  async edit (op) {
    const text = this.doc.getText('text')
    const map = this.doc.getMap('map')
    const list = this.doc.getArray('list')
    const xml = this.doc.getXmlFragment('xml')
    switch (op.c) {
      case 'insert': text.insert(op.at, op.text, op.attributes); break
      case 'embed': text.insertEmbed(op.at, op.value, op.attributes); break
      case 'delete': text.delete(op.at, op.length); break
      // Formatting that changes nothing still cuts a pair in Yjs, on this peer only: then even two Yjs documents differ.
      case 'format': if (!cutsPair(text, op.at) && !cutsPair(text, op.at + op.length)) text.format(op.at, op.length, op.attributes); break
      case 'set': map.set(op.key, op.value); break
      case 'unset': map.delete(op.key); break
      case 'undo': this.undo.undo(); break
      case 'redo': this.undo.redo(); break
      case 'set_text': { const nested = new Y.Text(); nested.insert(0, 'nested'); map.set(op.key, nested); break }
      case 'set_map': { const nested = new Y.Map(); nested.set('inner', 1); map.set(op.key, nested); break }
      case 'nested': {
        const nested = map.get(op.key)
        if (nested instanceof Y.Text) nested.insert(nested.length >> 1, '+', { n: 1 })
        else if (nested instanceof Y.Map) nested.set('more', 'value')
        else if (nested instanceof Y.Array) nested.push(['pushed'])
        break
      }
      case 'yjs': this.more(text, map, list, xml); break
    }
    return this.take()
  }

  // What only Yjs makes: every kind of content.
  more (text, map, list, xml) {
    const at = random(list.length + 1)
    switch (random(12)) {
      case 0: list.insert(at, [1, 'two', null, { three: [3.5, true, -7, 1e300, -0.1] }]); break
      case 1: list.insert(at, [new Uint8Array([1, 2, 3, random(256)])]); break
      case 2: { const inner = new Y.Array(); inner.push([1, 2, 3]); list.insert(at, [inner, 'after']); break }
      case 3: map.set(pick(['a', 'b', 'n1']), new Uint8Array([9, random(256)])); break
      case 4: { const inner = new Y.Array(); inner.push(['x']); map.set(pick(['n1', 'n2']), inner); break }
      case 5: if (list.length > 0) { const from = random(list.length); list.delete(from, Math.min(1 + random(3), list.length - from)) } break
      case 6: { const element = new Y.XmlElement(pick(['p', 'h1'])); element.setAttribute('class', 'c' + random(5)); element.insert(0, [new Y.XmlText('words')]); xml.insert(random(xml.length + 1), [element]); break }
      case 7: if (xml.length > 0) xml.delete(random(xml.length), 1); break
      case 8: if (xml.length > 0) { const element = xml.get(random(xml.length)); const inner = element.get(0); if (inner instanceof Y.XmlText) { inner.insert(random(inner.length + 1), 'w'); inner.format(0, Math.min(2, inner.length), { em: true }) } } break
      case 9: list.insert(at, [new Y.Doc({ guid: 'sub' + random(1000), meta: { m: 1 } })]); break
      case 10: text.insertEmbed(random(text.length + 1), new Y.Map([['k', random(9)]])); break
      default: this.doc.transact(() => {
        text.insert(random(text.length + 1), 'two ')
        text.insert(0, '😀é')
        map.set('both', random(100))
        if (text.length > 4) text.delete(2, 2)
      })
    }
  }
}

class OurPeer {
  static async make (client) {
    const peer = new OurPeer()
    peer.id = await newOurs(client)
    await ours({ c: 'track', doc: peer.id })
    return peer
  }

  async apply (update) { return (await this.run({ c: 'apply', u: update })) }
  async run (command) {
    const answer = await ours({ ...command, doc: this.id })
    if (answer.error && !answer.error.includes('surrogate')) fail(`${JSON.stringify(command)}: ${answer.error}`)
    return answer.updates
  }

  async view () { return viewOfOurs(this.id) }
  async length () { return (await ours({ c: 'length', doc: this.id })).length }
  async edit (op) { return this.run(op) }
}

const pieces = ['a', 'b', 'c', ' ', 'word ', 'é', '日本', '😀', 'x\ny', 'longer piece of text ']
const operation = (length, isYjs) => {
  const at = random(length + 1)
  const kind = random(100)
  if (kind < 38) return { c: 'insert', at, text: pick(pieces) }
  if (kind < 42) return { c: 'insert', at, text: pick(pieces), attributes: attributes() }
  if (kind < 45) return { c: 'embed', at, value: pick([{ image: 'i.png' }, { n: [1, { deep: null }] }]), attributes: pick([{}, { bold: true }]) }
  if (kind < 65) return length > at ? { c: 'delete', at, length: Math.min(1 + random(6), length - at) } : { c: 'set', key: 'a', value: random(10) }
  if (kind < 73) return length > at ? { c: 'format', at, length: Math.min(1 + random(12), length - at), attributes: attributes() } : { c: 'set', key: 'b', value: null }
  if (kind < 80) return { c: 'set', key: pick(['a', 'b', 'c', 'n1']), value: pick(values) }
  if (kind < 83) return { c: 'unset', key: pick(['a', 'b', 'c', 'n1', 'n2']) }
  if (kind < 85) return { c: pick(['set_text', 'set_map']), key: pick(['n1', 'n2']) }
  if (kind < 88) return { c: 'nested', key: pick(['n1', 'n2']) }
  if (kind < 92) return { c: 'undo' }
  if (kind < 94) return { c: 'redo' }
  return isYjs ? { c: 'yjs' } : { c: 'insert', at, text: 'z' }
}

// A pair of documents that get the same updates in the same order.
class Mirrors {
  static async make () {
    const mirrors = new Mirrors()
    mirrors.yjs = newYjs(4000000000 + documents)
    mirrors.ours = await newOurs(4000000000 + documents)
    return mirrors
  }

  async apply (update) {
    Y.applyUpdate(this.yjs, bytes(update), 'remote')
    await ours({ c: 'apply', doc: this.ours, u: update })
  }

  async check (what) {
    const mine = await viewOfOurs(this.ours)
    sameViews(what, viewOfYjs(this.yjs), mine)
    same(`${what}: bytes`, hex(Y.encodeStateAsUpdate(this.yjs)), mine.update)
  }
}

const counts = { operations: 0, updates: 0, byteChecks: 0, histories: 0, orders: 0 }

async function history (operations) {
  const peers = []
  for (let i = 0; i < 5; ++i) {
    const client = 1 + random(2 ** 31) * 2 + i
    const peer = i % 2 === 0 ? await OurPeer.make(client) : new YjsPeer(client)
    peer.isYjs = i % 2 === 1
    peer.inbox = []
    peer.all = []
    peer.mirrors = await Mirrors.make()
    peers.push(peer)
  }
  const spread = async (peer, updates) => {
    for (const update of updates) {
      counts.updates++
      peer.all.push(update)
      await peer.mirrors.apply(update)
      for (const other of peers) if (other !== peer) other.inbox.push(update)
    }
  }
  const deliver = async (peer, update) => {
    peer.all.push(update)
    await peer.mirrors.apply(update)
    await spread(peer, await peer.apply(update)) // what cleaning up after it deleted
  }
  let apart = [] // peers that are cut off
  for (let i = 0; i < operations; ++i) {
    if (i % 50 === 0) apart = peers.filter(() => random(3) === 0)
    const peer = pick(peers)
    const length = await peer.length()
    await spread(peer, await peer.edit(operation(length, peer.isYjs)))
    counts.operations++
    const receiver = pick(peers)
    if (!apart.includes(receiver)) {
      for (let k = random(8); k > 0 && receiver.inbox.length > 0; --k) {
        // Mostly in order; now and then an update comes early, late, or twice.
        const from = random(10) === 0 ? random(receiver.inbox.length) : 0
        const [update] = receiver.inbox.splice(from, 1)
        if (random(20) === 0) receiver.inbox.push(update)
        await deliver(receiver, update)
      }
    }
    if (i % 20 === 0) { await receiver.mirrors.check('the same updates in the same order'); counts.byteChecks++ }
  }
  for (let rest = true; rest;) {
    rest = false
    for (const peer of peers) {
      while (peer.inbox.length > 0) { rest = true; await deliver(peer, peer.inbox.shift()) }
    }
  }
  const views = []
  for (const peer of peers) {
    await peer.mirrors.check('mirrors at the end')
    counts.byteChecks++
    views.push(await peer.view())
  }
  for (const view of views) {
    for (const name of ['string', 'delta', 'map', 'list', 'xml', 'sv']) same(`peers at the end: ${name}`, views[1][name], view[name])
  }
  await withoutDocument(peers[0].all, peers[1].mirrors)
}

// Merging, differences and state vectors of updates alone.
async function withoutDocument (updates, mirrors) {
  const some = updates.filter(() => random(3) > 0).slice(0, 60)
  if (some.length < 2) return
  const merged = hex(Y.mergeUpdates(some.map(bytes)))
  same('mergeUpdates', merged, (await ours({ c: 'merge', us: some })).u)
  same('state vector of an update', hex(Y.encodeStateVectorFromUpdate(bytes(merged))), (await ours({ c: 'sv_of', u: merged })).u)
  const half = newYjs(5)
  for (const update of updates.slice(0, updates.length >> 1)) Y.applyUpdate(half, bytes(update))
  const sv = Y.encodeStateVector(half)
  same('diffUpdate', hex(Y.diffUpdate(bytes(merged), sv)), (await ours({ c: 'diff_of', u: merged, sv: hex(sv) })).u)
  same('encodeStateAsUpdate against a state vector', hex(Y.encodeStateAsUpdate(mirrors.yjs, sv)),
    (await ours({ c: 'diff', doc: mirrors.ours, sv: hex(sv) })).u)
  const text = mirrors.yjs.getText('text')
  for (let i = 0; i < 20; ++i) {
    const at = random(text.length + 1)
    const left = random(2) === 0
    const relative = hex(Y.encodeRelativePosition(Y.createRelativePositionFromTypeIndex(text, at, left ? -1 : 0)))
    same('relative position', relative, (await ours({ c: 'relative', doc: mirrors.ours, at, left })).u)
    const absolute = Y.createAbsolutePositionFromRelativePosition(Y.decodeRelativePosition(bytes(relative)), mirrors.yjs)
    same('absolute position', absolute.index, (await ours({ c: 'absolute', doc: mirrors.ours, u: relative })).at)
  }
}

// Six updates of a small history in all 720 orders.
async function everyOrder () {
  const updates = []
  const base = newYjs(10)
  base.on('update', update => updates.push(hex(update)))
  base.getText('text').insert(0, 'base text')
  const forks = [newYjs(11), newYjs(12), newYjs(13)]
  for (const fork of forks) {
    Y.applyUpdate(fork, bytes(updates[0]))
    fork.on('update', update => updates.push(hex(update)))
  }
  forks[0].transact(() => { forks[0].getText('text').insert(4, 'ONE'); forks[0].getText('text').delete(0, 2) })
  forks[1].transact(() => { forks[1].getText('text').insert(4, 'two'); forks[1].getText('text').format(2, 5, { bold: true }) })
  forks[2].transact(() => { forks[2].getMap('map').set('k', new Y.Text('in')); forks[2].getText('text').delete(3, 4) })
  Y.applyUpdate(forks[0], bytes(updates[2]))
  forks[0].transact(() => { forks[0].getText('text').insert(6, '3'); forks[0].getMap('map').set('k', 5) })
  forks[1].getText('text').insertEmbed(3, { e: 1 })
  const chosen = [...new Set(updates)].slice(0, 6)
  const orders = [[]]
  for (let size = 0; size < chosen.length; ++size) {
    for (let k = orders.length; k > 0; --k) {
      const order = orders.shift()
      for (let i = 0; i < chosen.length; ++i) if (!order.includes(i)) orders.push([...order, i])
    }
  }
  let first = null
  for (const order of orders) {
    const mirrors = await Mirrors.make()
    for (const i of order) await mirrors.apply(chosen[i])
    await mirrors.check(`order ${order}`)
    const view = viewOfYjs(mirrors.yjs)
    first ??= view
    same(`order ${order}: string`, first.string, view.string)
    counts.orders++
  }
}

const total = operationsOr(10000)
const perHistory = 500
await everyOrder()
while (counts.operations < total) {
  await history(Math.min(perHistory, total - counts.operations))
  counts.histories++
}
finish(`${counts.operations} operations in ${counts.histories} histories of 5 peers, ${counts.updates} updates; ` +
  `${counts.byteChecks} comparisons of bytes; ${counts.orders} orders of ${6} updates; all equal`)
