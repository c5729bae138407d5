package luciapp

import (
	"os"
	"path/filepath"
	"strings"
)

// readPO reads msgid and msgstr of a .po or .pot file.
func readPO(name string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(appDir, "po", name))
	if err != nil {
		return nil, err
	}
	messages := map[string]string{}
	var id string
	var field *string
	value := ""
	for _, line := range strings.Split(string(text)+"\n", "\n") {
		word, quoted, _ := strings.Cut(line, " ")
		switch {
		case word == "msgid":
			id, field = "", &id
		case word == "msgstr":
			value, field = "", &value
		case strings.HasPrefix(line, `"`):
			quoted = line
		case line == "" && field == &value:
			messages[id], field = value, nil
			continue
		default:
			continue
		}
		*field += strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\n`, "\n").Replace(quoted[1 : len(quoted)-1])
	}
	delete(messages, "") // the header
	return messages, nil
}

// translations are those of a language in LuCI's code, as the runtime wants them.
func translations(code string) map[string]string {
	if code != "zh-cn" {
		return nil
	}
	messages, _ := readPO("zh_Hans/loadbalance.po")
	return messages
}
