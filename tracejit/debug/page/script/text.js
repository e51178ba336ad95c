// Lines as coloured text. Everything goes into the page as text, never as markup.

const PATTERNS = {
  graph: /(?<value>%[\w.]+)|(?<symbol>@[\w.]+)|(?<type>\b(?:bool|[iuf]\d+|bf16|f8\w+|c\d+)(?:\[[\d,]*\])?(?=[\s,)>=:]|$))|(?<string>"[^"]*")|(?<number>-?\b\d[\w.+]*)|(?<word>\b(?:graph|return|kernel|schedule|program|run|extern|copy|loop|while|do|if|else|load|store|reduce|contract|over|axes|arena|input|output|alias|constant|iota|repeat|with|next|carried|check|where|fusion)\b)/gu,
  python: /(?<comment>#.*$)|(?<string>[rbfuRBFU]{0,2}(?:"""|'''|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?))|(?<number>\b\d[\w.]*)|(?<word>\b(?:and|as|assert|async|await|break|class|continue|def|del|elif|else|except|False|finally|for|from|global|if|import|in|is|lambda|None|nonlocal|not|or|pass|raise|return|True|try|while|with|yield)\b)/gu,
  llvm: /(?<comment>;.*$)|(?<symbol>@[\w.$"]+)|(?<value>%[\w.$"]+)|(?<string>"[^"]*")|(?<type>\b(?:i\d+|float|double|half|bfloat|ptr|void)\b)|(?<word>^\s*(?:define|declare|ret|br|call|store|switch|target)\b|\b(?:load|phi|call|getelementptr|select|icmp|fcmp|fadd|fmul|fsub|fdiv|add|sub|mul)\b)/gu,
  asm: /(?<comment>#.*$)|(?<symbol>^["\w.$]+:)|(?<value>%\w+)|(?<number>\$?-?\b0?x?[\da-f]+\b)|(?<word>^\s+\.?[a-z]\w*)/gu,
};

/** Put a line into an element, a span for each token. */
function paint(element, text, language) {
  const pattern = PATTERNS[language];
  if (!pattern || text.length > 2000) {
    element.append(text);
    return;
  }
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > at) element.append(text.slice(at, match.index));
    const kind = Object.keys(match.groups).find((k) => match.groups[k] !== undefined);
    const span = document.createElement("span");
    span.className = `t-${kind}`;
    span.textContent = match[0];
    element.append(span);
    at = match.index + match[0].length;
  }
  if (at < text.length) element.append(text.slice(at));
}

/** Return a new element with a class and text. */
function made(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}
