package config

import (
	"errors"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// evaluate gives the value of an expression. There are functions, and no variables.
func (p *hclParser) evaluate(e hclsyntax.Expression) (cty.Value, *fault) {
	v, problems := e.Value(&hcl.EvalContext{Functions: map[string]function.Function{
		"concat": stdlib.ConcatFunc,
		"env":    env(),
		"format": stdlib.FormatFunc,
		"join":   stdlib.JoinFunc,
		"lower":  stdlib.LowerFunc,
		"upper":  stdlib.UpperFunc,
	}})
	for _, d := range problems {
		return v, &fault{at: p.at(*d.Subject), msg: mistake(d)}
	}
	return v, nil
}

// mistake says what is wrong with an expression. It quotes no word of the expression, which may be a password without
// its quotes.
func mistake(d *hcl.Diagnostic) string {
	switch d.Summary {
	case "Variables not allowed", "Unknown variable":
		return "has a word that is no value; text is written in quotes"
	case "Call to unknown function":
		return "calls a function that is not there; known are concat, env, format, join, lower and upper"
	case "Error in function call":
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok &&
			errors.Is(call.FunctionCallError(), errNotSet) {
			return errNotSet.Error()
		}
		return "calls a function with values that it does not take"
	}
	return "has an expression that gives no value: " + strings.ToLower(d.Summary)
}

var errNotSet = errors.New("needs an environment variable that is not set; set the one that env names, for the program's service too")

// env is env("NAME"): the value of an environment variable, which must be set.
func env() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, ok := os.LookupEnv(args[0].AsString())
			if !ok {
				return cty.UnknownVal(cty.String), errNotSet
			}
			return cty.StringVal(v), nil
		},
	})
}
