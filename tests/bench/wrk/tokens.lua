-- A different access token in each request, in turn.
--   wrk … -s tokens.lua URL -- TOKENS_FILE MODE CREDENTIALS     MODE: introspect (form field) or userinfo (bearer header)
function init(args)
  messages, next_message = {}, 0
  for line in io.lines(args[1]) do
    if args[2] == "introspect" then
      local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
      messages[#messages + 1] = wrk.format("POST", nil, headers, "token=" .. line .. "&" .. args[3])
    else
      messages[#messages + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. line })
    end
  end
end

function request()
  next_message = next_message % #messages + 1
  return messages[next_message]
end
