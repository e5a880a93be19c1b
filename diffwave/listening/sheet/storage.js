// What is kept on this device, so that a reload or a closed tab loses nothing. Without localStorage (private windows,
// strict settings) everything still works, only not across a reload.

/** The test's own corner of localStorage; a hash of the trials tells another export under the same name apart. */
function storageKey(sheet, listener) {
  const trials = seedOf(JSON.stringify([sheet.order_seed, sheet.method, sheet.training, sheet.trials]));
  return ['diffwave', sheet.test_id, trials.toString(36), listener].join(':');
}

/** Read a value; null if there is none or no storage. */
function recall(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

/** Keep a value; null forgets it. Returns whether it was kept. */
function keep(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** A name for one run through the test, so that a listener who takes it twice counts as two sessions. */
function newSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Progress of a listener who begins: trials done, answers so far, how many of them the server has. */
function newProgress(listener) {
  return { listener, session: newSession(), stage: 'volume', volume: 80, trained: 0, done: 0, rows: [], sent: 0, draft: null };
}
