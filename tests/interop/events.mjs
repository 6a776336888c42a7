// What observers are told, against Yjs: for transactions of one's own, of others and of undo, the delta of a text and the
// keys of a map must be those of event.delta and event.keys. Reading event.delta deletes formats in Yjs, so each
// transaction is watched in two fresh documents that are thrown away.
import * as Y from 'yjs'
import {
  bytes, canonical, editYjs, eventOfOurs, eventOfYjs, fail, finish, hex, newOurs, newYjs, operationsOr, ours, random, same, someEdits
} from './harness.mjs'

const counts = { histories: 0, transactions: 0, events: 0, remote: 0, undone: 0 }
const stateOf = doc => hex(Y.encodeStateAsUpdate(doc))
const edit = (doc, ops) => doc.transact(() => ops.forEach(op => editYjs(doc, op)), 'me')

// Two documents with the same state; `watch` compares what one transaction tells.
class Watched {
  static async make (client, state) {
    const watched = new Watched()
    watched.yjs = newYjs(client)
    watched.ours = await newOurs(client)
    await watched.both({ c: 'apply', u: state }, () => Y.applyUpdate(watched.yjs, bytes(state), 'remote'))
    return watched
  }

  async both (command, inYjs) {
    inYjs()
    const answer = await ours({ ...command, doc: this.ours })
    if (answer.error) fail(`${canonical(command).slice(0, 300)}: ${answer.error}`)
    return answer
  }

  async watch (command, inYjs) {
    const told = []
    const listen = (target, type) => type.observe(event => told.push({ target, ...eventOfYjs(event) }))
    const map = this.yjs.getMap('map')
    listen('text', this.yjs.getText('text'))
    listen('map', map)
    for (const key of ['n1', 'n2']) {
      const nested = map.get(key)
      if (nested instanceof Y.Text || nested instanceof Y.Map) listen(key, nested)
    }
    await ours({ c: 'observe', doc: this.ours })
    const before = canonical(this.yjs.getText('text').toDelta())
    const answer = await this.both(command, inYjs)
    const mine = answer.events.map(event => ({ target: event.target, ...eventOfOurs(event) }))
    // Deleting needless formats is a transaction that changes nothing that is seen; in Yjs reading a delta makes more of them.
    const inOrder = events => canonical(events.filter(event => event.delta !== '[]').sort((a, b) => a.target < b.target ? -1 : 1))
    same(`${canonical(command).slice(0, 400)}\\n on ${before}`, inOrder(told), inOrder(mine))
    counts.transactions++
    counts.events += told.length
    await ours({ c: 'drop', doc: this.ours })
  }
}

async function history (steps) {
  const base = newYjs(1)
  for (let step = 0; step < steps; ++step) {
    const state = stateOf(base)
    const length = base.getText('text').length
    const forks = [2, 3].map(i => {
      const fork = newYjs(10 * step + i)
      Y.applyUpdate(fork, bytes(state), 'remote')
      const known = Y.encodeStateVector(fork)
      for (let count = 1 + random(2); count > 0; --count) edit(fork, someEdits(fork.getText('text').length))
      return hex(Y.encodeStateAsUpdate(fork, known))
    })
    const own = someEdits(length)

    const local = await Watched.make(10 * step + 4, state)
    await local.watch({ c: 'many', ops: own, origin: 'me' }, () => edit(local.yjs, own))

    // Of another, after what was typed here at the same time.
    const remote = await Watched.make(10 * step + 5, state)
    await remote.both({ c: 'many', ops: own, origin: 'me' }, () => edit(remote.yjs, own))
    await remote.both({ c: 'apply', u: forks[0] }, () => Y.applyUpdate(remote.yjs, bytes(forks[0]), 'remote'))
    await remote.watch({ c: 'apply', u: forks[1] }, () => Y.applyUpdate(remote.yjs, bytes(forks[1]), 'remote'))
    counts.remote++

    const undone = await Watched.make(10 * step + 6, state)
    const undo = new Y.UndoManager([undone.yjs.getText('text'), undone.yjs.getMap('map')], { captureTimeout: 0, trackedOrigins: new Set([null, 'me']) })
    await undone.both({ c: 'track', timeout: 0, map: true, ignores: false }, () => {})
    await undone.both({ c: 'many', ops: own, origin: 'me' }, () => edit(undone.yjs, own))
    await undone.both({ c: 'apply', u: forks[0] }, () => Y.applyUpdate(undone.yjs, bytes(forks[0]), 'remote'))
    if (random(3) === 0) {
      await undone.both({ c: 'undo' }, () => undo.undo())
      await undone.watch({ c: 'redo' }, () => undo.redo())
    } else {
      await undone.watch({ c: 'undo' }, () => undo.undo())
    }
    counts.undone++

    for (const fork of forks) Y.applyUpdate(base, bytes(fork), 'remote')
    edit(base, own)
    const text = base.getText('text')
    if (text.length > 120) text.delete(20, 60)
  }
}

const total = operationsOr(2500)
while (counts.transactions < total) {
  await history(50)
  counts.histories++
}
finish(`${counts.transactions} transactions in ${counts.histories} histories, ${counts.remote} of others, ${counts.undone} of undo, ` +
  `${counts.events} events; all equal`)
