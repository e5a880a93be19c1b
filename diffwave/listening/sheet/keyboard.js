// One place that listens to keys; every page says which ones it takes.

let keys = {};

/** Take over the keyboard: key as in KeyboardEvent.key, in lower case -> what to do. */
function setKeys(map) {
  keys = map;
}

/** Whether the focused element needs this key for itself. */
function keptByFocus(element, key) {
  if (element.matches('textarea, input[type=text]')) return true;
  if (key === ' ' || key === 'enter') return element.matches('button, a, summary');
  if (key.startsWith('arrow')) return element.matches('input, [role=slider]');
  return false;
}

document.addEventListener('keydown', (event) => {
  const key = event.key.toLowerCase();
  const action = keys[key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey || keptByFocus(event.target, key)) return;
  event.preventDefault();
  if (!event.repeat || key.startsWith('arrow')) action(event);
});
