# Values that tests/estimators/test_classifier.py compares with, of mclust's MclustDA.
#
#     Rscript tests/reference/classification_reference.R WINE > tests/reference/classification.json
#
# WINE is the file sklearn/datasets/data/wine_data.csv of scikit-learn.
suppressMessages({
  library(mclust)
  library(jsonlite)
})
options(digits = 15)

described <- function(model, X) {
  predicted <- predict(model, X)
  list(
    loglik = model$loglik,
    df = model$df,
    bic = model$bic,
    models = unname(sapply(model$models, function(each) each$modelName)),
    sizes = unname(sapply(model$models, function(each) each$G)),
    posteriors = unname(predicted$z[seq(1, nrow(X), by = 10), ])
  )
}

of_data <- function(rows) {
  y <- rows[[ncol(rows)]]
  X <- as.matrix(rows[, -ncol(rows)])
  single <- lapply(
    setNames(nm = c("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "EVE", "VEE", "VVE",
                    "EEV", "VEV", "EVV", "VVV")),
    function(name) {
      model <- MclustDA(X, y, modelType = "EDDA", modelNames = name, verbose = FALSE)
      described(model, X)
    }
  )
  list(
    single = single,
    chosen = described(MclustDA(X, y, modelType = "EDDA", verbose = FALSE), X),
    mixtures = described(MclustDA(X, y, G = 1:5, verbose = FALSE), X)
  )
}

data <- list(
  iris = read.csv("tests/reference/iris.csv"),
  wine = read.csv(commandArgs(trailingOnly = TRUE)[1], skip = 1, header = FALSE)
)
found <- lapply(data, of_data)
cat(toJSON(found, digits = NA, auto_unbox = TRUE, pretty = TRUE), "\n")
