// Sends the form of a form_post answer at once; without this script its button does the same.
document.getElementById("form-post").submit();
