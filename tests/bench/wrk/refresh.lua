-- Refresh tokens, each used once and replaced by its successor: what a real client does.
--   wrk … -s refresh.lua URL -- TOKENS_FILE CREDENTIALS [THREADS]
-- TOKENS_FILE: a token a line, at least as many as connections.  CREDENTIALS: form fields of the client.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  credentials = args[2]
  local count = tonumber(args[3] or "1")
  tokens, first, last = {}, 1, 0
  local line_number = 0
  for line in io.lines(args[1]) do
    if line_number % count == number then
      last = last + 1
      tokens[last] = line
    end
    line_number = line_number + 1
  end
  headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
end

function request()
  local token = tokens[first]
  tokens[first] = nil
  first = first + 1
  return wrk.format("POST", nil, headers, "grant_type=refresh_token&refresh_token=" .. token .. "&" .. credentials)
end

function response(status, _, body)
  local successor = status == 200 and string.match(body, '"refresh_token":"([^"]+)"')
  if successor then
    last = last + 1
    tokens[last] = successor
  end
end
